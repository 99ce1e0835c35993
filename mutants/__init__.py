"""Which faults do the tests notice?"""
