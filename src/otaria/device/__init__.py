"""Silicon: flash, RTC memory, Updater, bootloader, and the machine that joins them. Pure."""
