"""Bulk archival client for Spectra S3 / DS3 (BlackPearl) tape storage."""
