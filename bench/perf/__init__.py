"""Speed and memory of matching, beside plain PyTorch and beside what the hardware's matrix products allow."""
