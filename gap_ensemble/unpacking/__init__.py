"""Archives: what lies in them, and how it gets into a folder, all of it or nothing."""
