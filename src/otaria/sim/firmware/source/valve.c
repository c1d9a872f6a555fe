/* A garden watering controller, written against the bare chip: no SDK, no C library.
 *
 * The main valve hangs on GPIO 5; one valve per bed hangs on a chain of shift registers (data GPIO 12, clock GPIO 13,
 * latch GPIO 14). The safe state is main valve closed and no bed chosen: it is taken before anything else at every
 * start, after every watering, and for good when somebody sends an 's' on the serial line. If the program hangs, the
 * watchdog starts it again, and that takes the safe state.
 *
 * There is no clock on the board: the controller takes the moment of its start for six in the morning of the plan's
 * first day. */

#include "chip.h"

#if !defined(APPLICATION) || !defined(VERSION) || !defined(BEDS) || !defined(RAIN_SWITCH)
#error "APPLICATION, VERSION, BEDS and RAIN_SWITCH say what to build"
#endif

#define MAIN_VALVE (1u << 5)
#define RAIN (1u << 4)
#define REGISTER_DATA (1u << 12)
#define REGISTER_CLOCK (1u << 13)
#define REGISTER_LATCH (1u << 14)
#define OUTPUTS (MAIN_VALVE | REGISTER_DATA | REGISTER_CLOCK | REGISTER_LATCH)

#define NO_BED BEDS
#define SECONDS_PER_MINUTE 60u
#define SECONDS_PER_DAY 86400u
#define DAYS 366

/* By this marker the firmware is recognised in flash; marker.py describes it. */
#define MARKER_OPENING "\x89" "OTARIA" "\n"
#define MARKER_CLOSING "\n" "AIRATO" "\x89"

struct marker {
    char opening[8];
    char application[24];
    char version[32];
    char closing[8];
};

__attribute__((section(".marker"), used, aligned(4)))
static const struct marker marker = { MARKER_OPENING, APPLICATION, VERSION, MARKER_CLOSING };

/* The plan: for each day and bed one word, the minute of the day in its upper half and the seconds of watering in its
 * lower half. It stays in flash, which can be read by whole words only; hence no structure of smaller members.
 *
 * A bed in midsummer, day 196, gets six times the water that it gets at New Year. */
#define START_MINUTE(bed) (300u + 8u * (bed))
#define WATERING_SECONDS(day, bed) (360u - (uint32_t)(((day) - 196) * ((day) - 196) / 128) + 17u * ((bed) % 5))
#define WATERING(day, bed) (START_MINUTE(bed) << 16 | WATERING_SECONDS(day, bed))
#define FOUR_BEDS(day, bed) WATERING(day, bed), WATERING(day, bed + 1), WATERING(day, bed + 2), WATERING(day, bed + 3)
#define EIGHT_BEDS(day, bed) FOUR_BEDS(day, bed), FOUR_BEDS(day, bed + 4)
#if BEDS == 16
#define DAY(day) { EIGHT_BEDS(day, 0), EIGHT_BEDS(day, 8) }
#elif BEDS == 32
#define DAY(day) { EIGHT_BEDS(day, 0), EIGHT_BEDS(day, 8), EIGHT_BEDS(day, 16), EIGHT_BEDS(day, 24) }
#else
#error "the shift registers come in chains for 16 or 32 beds"
#endif
#define THREE_DAYS(day) DAY(day), DAY(day + 1), DAY(day + 2)
#define SIX_DAYS(day) THREE_DAYS(day), THREE_DAYS(day + 3)
#define THIRTY_DAYS(day) \
    SIX_DAYS(day), SIX_DAYS(day + 6), SIX_DAYS(day + 12), SIX_DAYS(day + 18), SIX_DAYS(day + 24)
#define NINETY_DAYS(day) THIRTY_DAYS(day), THIRTY_DAYS(day + 30), THIRTY_DAYS(day + 60)

__attribute__((section(".plan"), aligned(4)))
static const uint32_t plan[DAYS][BEDS] = {
    NINETY_DAYS(0), NINETY_DAYS(90), NINETY_DAYS(180), NINETY_DAYS(270), SIX_DAYS(360)
};

static uint32_t second_of_day = 6 * 60 * SECONDS_PER_MINUTE;
static uint32_t day;
static uint32_t last_tick;
static uint32_t watered_bed = NO_BED;
static uint32_t stopped;

/* Without the word "volatile" the compiler would read half words where half is all it needs. */
static uint32_t read_flash(const uint32_t *word)
{
    return *(const volatile uint32_t *)word;
}

static void send_text(const char *text)
{
    while (*text)
        send_letter(*text++);
}

/* Sends text that lies in flash: whole words are read and taken apart here. */
static void send_text_from_flash(const char *text, uint32_t size)
{
    const uint32_t *words = (const uint32_t *)text;

    for (uint32_t at = 0; at < size; at++) {
        char letter = (char)(read_flash(&words[at >> 2]) >> (at & 3) * 8);
        if (letter == 0)
            return;
        send_letter(letter);
    }
}

static void send_number(uint32_t number)
{
    static const uint32_t tens[] = { 10000, 1000, 100, 10, 1 };
    int begun = 0;

    for (uint32_t place = 0; place < sizeof tens / sizeof *tens; place++) {
        char digit = '0';
        for (; number >= tens[place]; number -= tens[place])
            digit++;
        begun |= digit != '0' || tens[place] == 1;
        if (begun)
            send_letter(digit);
    }
}

static void introduce(void)
{
    send_text_from_flash(marker.application, sizeof marker.application);
    send_letter(' ');
    send_text_from_flash(marker.version, sizeof marker.version);
    send_text("\r\n");
}

/* Shifts one bit per bed through the registers and lets the outputs follow. NO_BED opens none. */
static void choose_bed(uint32_t bed)
{
    for (uint32_t left = BEDS; left-- > 0;) {
        if (left == bed)
            GPIO_OUT_SET = REGISTER_DATA;
        else
            GPIO_OUT_CLEAR = REGISTER_DATA;
        GPIO_OUT_SET = REGISTER_CLOCK;
        GPIO_OUT_CLEAR = REGISTER_CLOCK;
    }
    GPIO_OUT_SET = REGISTER_LATCH;
    GPIO_OUT_CLEAR = REGISTER_LATCH;
}

static void take_safe_state(void)
{
    GPIO_OUT_CLEAR = OUTPUTS;
    GPIO_ENABLE_SET = OUTPUTS;
    choose_bed(NO_BED);
    watered_bed = NO_BED;
}

static void water(uint32_t bed)
{
    if (bed == watered_bed)
        return;
    take_safe_state();
    if (bed == NO_BED) {
        send_text("closed\r\n");
        return;
    }
    choose_bed(bed);
    GPIO_OUT_SET = MAIN_VALVE;
    watered_bed = bed;
    send_text("watering bed ");
    send_number(bed);
    send_text("\r\n");
}

/* The switch connects its pin to ground while it is wet. */
static int it_rains(void)
{
    return RAIN_SWITCH && !(GPIO_IN & RAIN);
}

static uint32_t bed_due(void)
{
    if (stopped || it_rains())
        return NO_BED;
    for (uint32_t bed = 0; bed < BEDS; bed++) {
        uint32_t watering = read_flash(&plan[day][bed]);
        uint32_t start = (watering >> 16) * SECONDS_PER_MINUTE;
        if (second_of_day >= start && second_of_day < start + (watering & 0xFFFF))
            return bed;
    }
    return NO_BED;
}

static void advance_clock(void)
{
    if (++second_of_day < SECONDS_PER_DAY)
        return;
    second_of_day = 0;
    if (++day == DAYS)
        day = 0;
}

static void obey(char letter)
{
    if (letter == 'v')
        introduce();
    if (letter == 's') {
        stopped = 1;
        water(NO_BED);
        send_text("stopped until the next start\r\n");
    }
}

static void connect_pins(void)
{
    PIN_GPIO5 = PIN_FUNCTION_0;
    PIN_GPIO12 = PIN_FUNCTION_3;
    PIN_GPIO13 = PIN_FUNCTION_3;
    PIN_GPIO14 = PIN_FUNCTION_3;
#if RAIN_SWITCH
    PIN_GPIO4 = PIN_FUNCTION_0 | PIN_PULL_UP;
    GPIO_ENABLE_CLEAR = RAIN;
#endif
}

__attribute__((noreturn)) void run(void)
{
    connect_pins();
    introduce();
    TIMER2_LOAD = 0;
    TIMER2_CONTROL = TIMER_ON | TIMER_BY_256;
    last_tick = TIMER2_COUNT;
    for (;;) {
        feed_watchdog();
        if (UART_WAITING_TO_BE_READ(UART0_STATUS))
            obey((char)UART0_FIFO);
        if (TIMER2_COUNT - last_tick >= TICKS_PER_SECOND) {
            last_tick += TICKS_PER_SECOND;
            advance_clock();
            water(bed_due());
        }
    }
}

/* The entry. It lies in instruction RAM, as do the two steps it takes while the flash is not mapped yet. */
__attribute__((noreturn)) void app_start(void)
{
    extern uint32_t bss_start[], bss_end[];

    GPIO_OUT_CLEAR = MAIN_VALVE;
    GPIO_ENABLE_SET = MAIN_VALVE;
    for (volatile uint32_t *word = bss_start; word < bss_end; word++)
        *word = 0;
    Cache_Read_Enable(0, 0, 1);
    take_safe_state();
    run();
}
