"""What the suite asks of the operating system: locks, paths, processes, signals, streams.

Lies on the ground; may import none of the rooms.
"""
