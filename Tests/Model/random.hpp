// SPDX-License-Identifier: Apache-2.0
// A small reproducible generator of random numbers (splitmix64), and ways to choose.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

class Random {
public:
	explicit Random(std::uint64_t seed) : state_(seed) {}
	std::uint64_t next()
	{
		std::uint64_t z = (state_ += 0x9E3779B97F4A7C15ull);
		z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
		z = (z ^ z >> 27) * 0x94D049BB133111EBull;
		return z ^ z >> 31;
	}
	/// 0 to bound - 1
	std::uint64_t below(std::uint64_t bound) { return static_cast<std::uint64_t>((static_cast<unsigned __int128>(next()) * bound) >> 64); }
	std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
	bool chance(unsigned percent) { return below(100) < percent; }
	bool one_in(std::uint64_t n) { return below(n) == 0; }
	template <class T>
	T pick(std::initializer_list<T> choices)
	{
		return choices.begin()[below(choices.size())];
	}
	template <class T>
	const T &pick(const std::vector<T> &choices)
	{
		return choices[below(choices.size())];
	}

private:
	std::uint64_t state_;
};
