#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Print the symbols that a version script exports, one a line.
exec sed -n 's/^[[:space:]]*\(apus_[a-z0-9_]*\);$/\1/p' "$1"
