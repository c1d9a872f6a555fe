"""Drivers: the only place where exchanges meet asyncio."""
