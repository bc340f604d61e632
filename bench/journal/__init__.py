"""What a run leaves on disk while it works: record, checkpoint, heartbeat, provenance; and when it saves and leaves.

May import none of the other rooms.
"""
