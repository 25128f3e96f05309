#include <sys/resource.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "families.hpp"

namespace saathii::http {

void add_process(Families& families, Instant started_at) {
  timespec busy{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &busy) == 0) {
    families.counter("process_cpu_seconds_total", "Processor time spent, in seconds",
                     static_cast<double>(busy.tv_sec) + static_cast<double>(busy.tv_nsec) / 1e9);
  }
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  double all_pages = 0;
  double resident_pages = 0;
  if (std::ifstream("/proc/self/statm") >> all_pages >> resident_pages) {
    families.gauge("process_virtual_memory_bytes", "Virtual memory, in bytes", all_pages * page);
    families.gauge("process_resident_memory_bytes", "Resident memory, in bytes",
                   resident_pages * page);
  }
  std::error_code failure;
  double open = 0;
  for (std::filesystem::directory_iterator entry("/proc/self/fd", failure), end;
       !failure && entry != end; entry.increment(failure)) {
    ++open;
  }
  if (!failure) {
    families.gauge("process_open_fds", "Open file descriptors", open);
  }
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0) {
    families.gauge("process_max_fds", "Most file descriptors that may be open",
                   static_cast<double>(files.rlim_cur));
  }
  families.gauge("process_start_time_seconds", "When the process began, in seconds since 1970",
                 timestamp(started_at));
}

}  // namespace saathii::http
