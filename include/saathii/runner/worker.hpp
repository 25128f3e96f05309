#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <type_traits>
#include <utility>

namespace saathii::runner {

/// Calls `work` on a thread of `workers` and resumes where it was awaited, with
/// what it returned or threw. (Awaiting a post() to the workers would resume on
/// the loop and block it.) Give it a named object: GCC 12 destroys a temporary
/// with destructors in a co_await expression twice.
template <typename Work>
boost::asio::awaitable<std::invoke_result_t<Work&>> on_worker(boost::asio::thread_pool& workers,
                                                              Work work) {
  static_assert(std::is_trivially_destructible_v<Work>);
  auto call = [&work]() -> boost::asio::awaitable<std::invoke_result_t<Work&>> {
    co_return work();
  };
  co_return co_await boost::asio::co_spawn(workers, std::move(call), boost::asio::use_awaitable);
}

}  // namespace saathii::runner
