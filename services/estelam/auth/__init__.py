"""Who calls and what they may call: certificates, XFCC, grants, rate limits, a development CA."""
