"""WeChat Pay, Native, version 3 of its interface: orders are paid by scanning a QR code, and refunded."""
