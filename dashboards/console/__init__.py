"""The console: pages for owners of apps, with sign-in, in Chinese and English."""
