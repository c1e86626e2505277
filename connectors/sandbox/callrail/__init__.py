"""CallRail as a sandbox: each client has an account of its own, with one company and one tracker for each line."""

from connectors.sandbox.callrail.api import SandboxCallRail

__all__ = ["SandboxCallRail"]
