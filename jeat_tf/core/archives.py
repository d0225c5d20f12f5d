"""A limit on what an archive unpacks to: a file of a megabyte must not fill the memory."""

import math
import os
import zipfile

import h5py
import numpy as np

FREE = 256 * 2**20
"""Bytes that any archive may unpack to."""
RATIO = 100
"""A larger archive may unpack to at most this many times its own size. Compression of data reaches ten or so."""


def check_unpacked(path: str) -> None:
    """Checks the unpacked size that a .zip, .npz, .keras or HDF5 file declares, before any data is read.

    Raises:
      FileNotFoundError: there is no file.
      ValueError: it declares more than both `FREE` bytes and `RATIO` times its size, or an array's header and the
        array's size disagree.
    """
    size = os.path.getsize(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            _check_size(sum(member.file_size for member in archive.infolist()), size)
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    _check_array(archive, member)
                elif member.filename.endswith(".h5"):
                    _check_size(member.file_size, size)
                    with archive.open(member) as file:
                        _check_size(_hdf5_bytes(file), size)
    elif h5py.is_hdf5(path):
        _check_size(_hdf5_bytes(path), size)


def _check_size(unpacked: int, size: int) -> None:
    if unpacked > max(FREE, RATIO * size):
        raise ValueError(
            f"it is an archive of {size:,} bytes that unpacks to {unpacked:,}, more than {RATIO} times as much: it is "
            "damaged or made to fill the memory"
        )


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        expected = file.tell() + math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and expected != member.file_size:
        raise ValueError(
            f"its array {member.filename} has {member.file_size:,} bytes, and its header says {expected:,}"
        )


def _hdf5_bytes(file: object) -> int:
    total = 0

    def add(_: str, item: object) -> None:
        nonlocal total
        if isinstance(item, h5py.Dataset):
            total += math.prod(item.shape or ()) * item.dtype.itemsize

    with h5py.File(file, "r") as opened:
        opened.visititems(add)
    return total
