/* What least_handover.c and least_peer.c send each other: this, then the two parts as least_python.h has them. */

#include <stdint.h>

struct frame {
    uint32_t head; /* bytes of variables, or of status and headers: none when there is no answer */
    uint32_t body; /* bytes; none in a request */
};
