"""A pipeline for image competitions: pooled features of many networks, ensembled.

Which subject has which room stands in `docs/architecture.md`.
"""

import os

# HDF5 locks what it reads, and network drives refuse locks. No file here is written while it is read: all are whole or
# not there. HDF5 asks the environment once, so this stands before every import of h5py.
os.environ.setdefault("HDF5_USE_FILE_LOCKING", "FALSE")
