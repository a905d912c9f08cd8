"""What boto3 does for us: sessions, failures in our words, and the services that the tool uses."""
