// SPDX-License-Identifier: Apache-2.0
// Counting checks: every program ends with "N passed, N failed".
#pragma once

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <string>

namespace report {

inline std::uint64_t passed = 0;
inline std::uint64_t failed = 0;
constexpr std::uint64_t shown_failures = 40;

/// printf into a string.
[[gnu::format(printf, 1, 2)]] inline std::string text(const char *format, ...)
{
	char buffer[1024];
	va_list arguments;
	va_start(arguments, format);
	std::vsnprintf(buffer, sizeof(buffer), format, arguments);
	va_end(arguments);
	return buffer;
}

inline bool check(bool ok, const std::string &what)
{
	if (ok) {
		passed++;
		return true;
	}
	failed++;
	if (failed <= shown_failures)
		std::printf("FAILED: %s\n", what.c_str());
	return false;
}

inline bool equal(std::int64_t got, std::int64_t expected, const std::string &what)
{
	if (got == expected) {
		passed++;
		return true;
	}
	return check(false, what + text(": expected %lld, got %lld", static_cast<long long>(expected), static_cast<long long>(got)));
}

inline int finish()
{
	std::printf("%llu passed, %llu failed\n", static_cast<unsigned long long>(passed), static_cast<unsigned long long>(failed));
	return failed == 0 ? 0 : 1;
}

}  // namespace report
