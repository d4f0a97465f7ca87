"""What an attempt finds on its host before its script starts: GPU, memory, disk, its share of the machine."""
