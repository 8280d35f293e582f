"""What a kubelet does with what it learned: the sync loop, its pod workers, and the node's conditions."""
