"""What an auditor can rely on: chains of hashes, signed heads, exports, tombstones."""
