"""The device kit, as edgepriv sees it: predict.py opens every session, bench.py is every timer."""
