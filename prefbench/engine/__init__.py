"""Where tasks run: this process, or worker processes that stay warm. An engine receives a callable and knows no cell."""
