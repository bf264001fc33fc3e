"""Archives of pictures: tar read as a stream, zip by its directory. Nothing of them is unpacked to the disk."""
