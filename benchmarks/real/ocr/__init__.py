"""EasyOCR's text detector and recogniser, on pages drawn here."""
