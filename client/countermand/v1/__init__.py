"""Generated from proto/countermand/v1 by scripts/gen_proto.py. Do not edit."""
