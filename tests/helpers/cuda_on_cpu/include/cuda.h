#include <emulation.h>
