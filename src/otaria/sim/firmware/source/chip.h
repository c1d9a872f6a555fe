/* What the demo firmware uses of the ESP8266: registers, and two functions of its ROM. The addresses are those of
 * Espressif's technical reference and of the symbol list of the ROM. */

#ifndef CHIP_H
#define CHIP_H

#include <stdint.h>

#define REGISTER(address) (*(volatile uint32_t *)(address))

#define UART0_FIFO REGISTER(0x60000000)
#define UART0_STATUS REGISTER(0x6000001C)
#define UART_WAITING_TO_BE_READ(status) ((status) & 0xFF)
#define UART_WAITING_TO_BE_SENT(status) ((status) >> 16 & 0xFF)
#define UART_FIFO_SIZE 128

#define GPIO_OUT_SET REGISTER(0x60000304)
#define GPIO_OUT_CLEAR REGISTER(0x60000308)
#define GPIO_ENABLE_SET REGISTER(0x60000310)
#define GPIO_ENABLE_CLEAR REGISTER(0x60000314)
#define GPIO_IN REGISTER(0x60000318)

/* How each pin is wired inside the chip. Pins 4 and 5 are GPIO as function 0, pins 12 to 14 as function 3. */
#define PIN_GPIO4 REGISTER(0x6000083C)
#define PIN_GPIO5 REGISTER(0x60000840)
#define PIN_GPIO12 REGISTER(0x60000804)
#define PIN_GPIO13 REGISTER(0x60000808)
#define PIN_GPIO14 REGISTER(0x6000080C)
#define PIN_FUNCTION_0 0
#define PIN_FUNCTION_3 (3 << 4)
#define PIN_PULL_UP (1 << 7)

#define TIMER2_LOAD REGISTER(0x60000620)
#define TIMER2_COUNT REGISTER(0x60000624)
#define TIMER2_CONTROL REGISTER(0x60000628)
#define TIMER_ON (1 << 7)
#define TIMER_BY_256 (2 << 2)

/* The ROM leaves the chip at twice its 26 MHz crystal; nothing here starts the PLL. */
#define TICKS_PER_SECOND (52000000 / 256)

#define WATCHDOG_FEED REGISTER(0x60000914)
#define WATCHDOG_FOOD 0x73

#define STACK_TOP 0x3FFFFFF0

/* Both are in the ROM; the linker scripts say where. SPIRead takes whole words only and returns 0 for success. */
extern int SPIRead(uint32_t flash_offset, uint32_t *to, uint32_t size);
extern void Cache_Read_Enable(uint8_t odd, uint8_t megabyte, uint8_t large);

static inline void feed_watchdog(void)
{
    WATCHDOG_FEED = WATCHDOG_FOOD;
}

static inline void send_letter(char letter)
{
    while (UART_WAITING_TO_BE_SENT(UART0_STATUS) >= UART_FIFO_SIZE - 2) {
    }
    UART0_FIFO = (uint8_t)letter;
}

#endif
