// Preloaded: what the kernel says of the clock, which no test may set. TEST_CLOCK=set: it was synchronised.
#include <stdlib.h>
#include <string.h>
#include <sys/timex.h>

int adjtimex(struct timex* state) {
  const char* const clock = getenv("TEST_CLOCK");
  memset(state, 0, sizeof *state);
  if (clock != NULL && strcmp(clock, "set") == 0) return TIME_OK;
  state->status = STA_UNSYNC;
  return TIME_ERROR;
}
