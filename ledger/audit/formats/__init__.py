"""What an audit bundle holds for other tools, in formats of their own; the extra `audit` brings what they need.

    attestations  what the log says of a range, as in-toto Statements (v1)
    bom           a bill of materials of the version at a range's end: CycloneDX 1.6
    dsse          envelopes of signed statements: Dead Simple Signing Envelope
    parquet       the master copy as a Parquet file

A bundle can be made and checked without any of it.
"""
