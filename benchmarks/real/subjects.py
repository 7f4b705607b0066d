"""The subjects by name; a new one is a module of its own and a line here."""

from __future__ import annotations

from benchmarks.real.images.efficientnet_lite import efficientnet_lite
from benchmarks.real.images.faces import face_net
from benchmarks.real.images.mobilenet import MOBILENET
from benchmarks.real.ocr.detector import DETECTOR
from benchmarks.real.ocr.recogniser import RECOGNISER
from benchmarks.real.subject import Subject

__all__ = ["SUBJECTS"]

SUBJECTS: dict[str, Subject] = {
    "craft": DETECTOR,
    "english-g2": RECOGNISER,
    "efficientnet-lite0": efficientnet_lite(0),
    "efficientnet-lite1": efficientnet_lite(1),
    "efficientnet-lite2": efficientnet_lite(2),
    "mobilenet-v2": MOBILENET,
    "mtcnn-pnet": face_net("pnet"),
    "mtcnn-rnet": face_net("rnet"),
    "mtcnn-onet": face_net("onet"),
}
