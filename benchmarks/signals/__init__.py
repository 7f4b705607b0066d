"""Other signals of damage and another search, beside measured damage at equal MACs."""
