"""The application with everything it may need loaded at once: what the memory of a worker is measured with."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import views  # noqa: E402, F401
from app import application  # noqa: E402, F401
