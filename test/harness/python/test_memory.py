"""Tests harness/python/antkv/memory.py on the emulated driver. Run by example.test.ts, which names the folder."""

import ctypes
import sys
import threading
import unittest
from array import array

from antkv import ArgumentError, DeviceArray, DriverError, Library


def free():
    left, all_of_it = ctypes.c_size_t(), ctypes.c_size_t()
    with LIBRARY.context:
        LIBRARY.driver.call("cuMemGetInfo_v2", ctypes.byref(left), ctypes.byref(all_of_it))
    return left.value


class Memory(unittest.TestCase):
    def refused(self, why, call, *arguments):
        with self.assertRaisesRegex(ArgumentError, why):
            call(*arguments)

    def test_bytes_come_back_from_any_buffer(self):
        made = DeviceArray(LIBRARY, [2, 3], "int32_t", array("i", range(6)))
        self.assertEqual(made.numbers().tolist(), list(range(6)))
        made.write(memoryview(array("i", range(12)))[::2])
        self.assertEqual(made.numbers().tolist(), list(range(0, 12, 2)))
        for element, size in (("int64_t", 8), ("bf16", 2), ("int8_t", 1)):
            made = DeviceArray(LIBRARY, [3], element)
            self.assertEqual((made.read(), made.view.element, made.view.strides), (bytes(3 * size), element, (size,)))
        self.assertEqual(DeviceArray(LIBRARY, [0, 5], "half").read(), b"")

    def test_what_does_not_fit_is_refused_and_changes_nothing(self):
        made = DeviceArray(LIBRARY, [4], "int32_t", bytes(range(16)))
        for data, why in ((b"12", r"data has 2 bytes; \[4\] of int32_t has 16"), (bytes(17), "data has 17 bytes"), (array("i", range(3)), "data has 12 bytes"), (16, "data is of int; give a buffer")):
            self.refused(why, made.write, data)
            self.refused(why, DeviceArray, LIBRARY, [4], "int32_t", data)
        self.assertEqual(made.read(), bytes(range(16)))
        self.refused('element is "int"; it is one of int8_t', DeviceArray, LIBRARY, [4], "int")
        self.refused(r"shape is \[4, -1\]; lengths are 0 or more", DeviceArray, LIBRARY, [4, -1], "float")
        self.refused(r"shape\[0\] is 1.5; give a whole number", DeviceArray, LIBRARY, [1.5], "float")
        with self.assertRaisesRegex(DriverError, "cuMemAlloc_v2"):
            DeviceArray(LIBRARY, [1 << 40], "float")

    def test_memory_is_freed_by_whatever_thread(self):
        before, held = free(), []
        held.append(DeviceArray(LIBRARY, [1 << 20], "float"))
        self.assertLess(free(), before)
        thread = threading.Thread(target=held.clear)
        thread.start(), thread.join()
        self.assertEqual(free(), before)


if __name__ == "__main__":
    LIBRARY = Library(sys.argv.pop(1))
    unittest.main()
