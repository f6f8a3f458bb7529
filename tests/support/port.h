/* tests/support/port.h -- a TCP port for a listener of a test. */
#ifndef TESTS_SUPPORT_PORT_H
#define TESTS_SUPPORT_PORT_H

#include <stdint.h>

/* A port of the loopback address that nobody listens on now. */
uint16_t free_port(void);

#endif
