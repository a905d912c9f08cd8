"""What the controls' door leads to, one noun a module; each answers with a document, and changes all or nothing."""
