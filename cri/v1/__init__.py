"""The CRI v1 messages (package runtime.v1), generated from proto/ when the project is built or installed."""
