"""Ways to learn what the runtime's containers do, one file each; all write the cache and send into the channel."""
