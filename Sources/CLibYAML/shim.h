/* SPDX-License-Identifier: Apache-2.0 */
/* libyaml, and what Embedded Swift needs of the C library, for which it has no module of its own. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>
