/* The boot part of the demo images: loads the app part at flash offset 0x1000 and jumps to it.
 *
 * It does that and nothing else. In particular it does not carry out the copy command that an update leaves in RTC
 * memory, as the Arduino core's eboot does: a real board with this boot part would take an update and never install
 * it. These images are for virtual devices, which bring an eboot of their own. */

#include "chip.h"

#ifndef BOOT_REVISION
#error "BOOT_REVISION is not set"
#endif

#define APP_PART 0x1000
#define LENGTH_WORD 0x1010
#define IMAGE_MAGIC 0xE9

enum failure { NO_HEADER = 1, NO_SEGMENT_HEADER = 2, NO_SEGMENT = 3 };

static void send_hexadecimal(uint32_t word)
{
    for (int shift = 28; shift >= 0; shift -= 4) {
        uint32_t digit = word >> shift & 0xF;
        send_letter((char)(digit < 10 ? '0' + digit : 'a' + digit - 10));
    }
}

/* Instruction RAM, data RAM and RTC memory; what is left is the flash itself, mapped into memory later on. */
static int belongs_in_ram(uint32_t address)
{
    return address < 0x40000000 || (address >= 0x40100000 && address < 0x4010C000) || address >= 0x60000000;
}

/* Copies every segment to where it belongs. Returns the app's entry, or the failure as a small number. */
static uint32_t load_app(void)
{
    uint32_t header[2], segment[2];
    uint32_t position = APP_PART;

    if (SPIRead(position, header, sizeof header) || (header[0] & 0xFF) != IMAGE_MAGIC)
        return NO_HEADER;
    position += sizeof header;
    for (uint32_t left = header[0] >> 8 & 0xFF; left > 0; left--) {
        if (SPIRead(position, segment, sizeof segment))
            return NO_SEGMENT_HEADER;
        position += sizeof segment;
        if (belongs_in_ram(segment[0]) && SPIRead(position, (uint32_t *)segment[0], segment[1]))
            return NO_SEGMENT;
        position += segment[1];
#if BOOT_REVISION >= 2
        feed_watchdog();
#endif
    }
    return header[1];
}

__attribute__((noreturn)) static void jump(uint32_t entry)
{
    __asm__ volatile("mov a1, %0\n\tjx %1" : : "r"(STACK_TOP), "r"(entry));
    __builtin_unreachable();
}

/* Says on the serial line what eboot says at a boot without a command: "v<length of the image>", "~ld". */
__attribute__((noreturn)) void boot_start(void)
{
    uint32_t length = 0;

    SPIRead(LENGTH_WORD, &length, sizeof length);
    send_letter('v');
    send_hexadecimal(length);
    send_letter('\n');
    send_letter('~');
    send_letter('l');
    send_letter('d');
    send_letter('\n');

    uint32_t entry = load_app();
    if (entry > NO_SEGMENT)
        jump(entry);
    send_letter('e');
    send_letter(':');
    send_letter((char)('0' + entry));
    send_letter('\n');
    for (;;) {
        /* The watchdog starts the chip again. */
    }
}
