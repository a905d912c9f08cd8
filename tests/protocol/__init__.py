"""Tests of the wire: values in, values out."""
