"""Published hls4ml projects to `Network`: the C++ is read, never run."""
