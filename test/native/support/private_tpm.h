// A real swtpm on unix sockets in a private directory, for as long as this object lives; no other TPM is reached. When the
// test process is killed, a watching shell ends the swtpm and removes the directory.
//
// The swtpm serves one client at a time, and its TCTI connects anew for each command, so any number of processes may use
// it in turns. There is no resource manager: what a killed client leaves loaded stays until the TPM is restarted.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <functional>
#include <mutex>
#include <sstream>
#include <thread>

#include "base/bytes.h"
#include "private_keyring.h"

namespace strongroom::roots::testing {

using store::testing::run;

inline int connect_unix(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

class PrivateTpm {
 public:
  // `state`: a copy of this file is what it remembers.
  explicit PrivateTpm(const std::string& state = "") {
    char name[] = "/tmp/strongroom-tpm.XXXXXX";
    if (mkdtemp(name) == nullptr) std::abort();
    directory_ = name;
    if (!state.empty()) std::filesystem::copy_file(state, directory_ + "/tpm2-00.permall");
    start_watcher();
    start();
  }
  ~PrivateTpm() {
    kill();
    close(watcher_input_);
    waitpid(watcher_, nullptr, 0);
  }
  PrivateTpm(const PrivateTpm&) = delete;
  PrivateTpm& operator=(const PrivateTpm&) = delete;

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] std::string socket_path() const { return directory_ + "/s"; }
  [[nodiscard]] std::string tcti() const { return "swtpm:path=" + socket_path(); }

  // With "startup-clear" it is ready for commands; without, it waits for TPM2_Startup as a TPM does after power-on.
  void start(const std::string& flags = "not-need-init,startup-clear") {
    std::filesystem::remove(socket_path());
    std::vector<std::string> words = {"swtpm",
                                      "socket",
                                      "--tpm2",
                                      "--tpmstate",
                                      "dir=" + directory_,
                                      "--server",
                                      "type=unixio,path=" + socket_path(),
                                      "--ctrl",
                                      "type=unixio,path=" + socket_path() + ".ctrl",
                                      "--flags",
                                      flags,
                                      "--pid",
                                      "file=" + directory_ + "/pid"};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    const int error = posix_spawnp(&swtpm_, "swtpm", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) {
      std::fprintf(stderr, "no swtpm: apt-get install swtpm swtpm-tools tpm2-tools\n");
      std::abort();
    }
    for (int tries = 0; tries < 2000; ++tries) {
      if (const int fd = connect_unix(socket_path()); fd >= 0) {
        close(fd);
        return;
      }
      if (waitpid(swtpm_, nullptr, WNOHANG) == swtpm_) break;
      usleep(5'000);
    }
    std::fprintf(stderr, "swtpm did not come up\n");
    std::abort();
  }
  // Without TPM2_Shutdown, as by a power cut.
  void kill() {
    if (swtpm_ <= 0) return;
    ::kill(swtpm_, SIGKILL);
    waitpid(swtpm_, nullptr, 0);
    swtpm_ = 0;
  }
  void restart() {
    kill();
    start();
  }
  void stop() { ::kill(swtpm_, SIGSTOP); }
  void go_on() { ::kill(swtpm_, SIGCONT); }
  // Another TPM in its place.
  void replace() {
    kill();
    std::filesystem::remove(directory_ + "/tpm2-00.permall");
    start();
  }

  // A tool of tpm2-tools with this TPM, for example {"clear"}; true when it succeeded.
  bool tool(std::vector<std::string> words) const { return run(command(std::move(words))) == 0; }
  // What it prints.
  [[nodiscard]] std::string output(std::vector<std::string> words) const {
    std::string line;
    for (const std::string& word : command(std::move(words))) line += "'" + word + "' ";
    FILE* const pipe = popen((line + "2>/dev/null").c_str(), "re");
    std::string text;
    char buffer[4096];
    for (std::size_t n = 0; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
    pclose(pipe);
    return text;
  }
  // Handles that are loaded now: "handles-transient", "handles-loaded-session", "handles-nv-index", ...
  [[nodiscard]] std::vector<std::string> handles(const std::string& kind) const {
    std::istringstream text(output({"getcap", kind}));
    std::vector<std::string> found;
    for (std::string dash, handle; text >> dash >> handle;) found.push_back(handle);
    return found;
  }

 private:
  [[nodiscard]] std::vector<std::string> command(std::vector<std::string> words) const {
    words.front().insert(0, "tpm2_");
    words.push_back("-T");
    words.push_back(tcti());
    return words;
  }
  void start_watcher() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[0], 0);
    std::string shell = "sh";
    std::string option = "-c";
    // The end of our pipe is the signal; a process id is only believed while it runs in our directory's name.
    std::string program =
        "cat >/dev/null; p=$(cat \"$1/pid\" 2>/dev/null); "
        "if [ -n \"$p\" ] && cat \"/proc/$p/cmdline\" 2>/dev/null | tr '\\0' ' ' | grep -qF \"dir=$1 \"; "
        "then "
        "kill -KILL \"$p\"; fi; rm -rf \"$1\"";
    char* arguments[] = {shell.data(), option.data(),     program.data(),
                         shell.data(), directory_.data(), nullptr};
    const int error = posix_spawnp(&watcher_, "sh", &actions, nullptr, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[0]);
    watcher_input_ = ends[1];
    if (error != 0) std::abort();
  }

  std::string directory_;
  pid_t swtpm_ = 0;
  pid_t watcher_ = 0;
  int watcher_input_ = -1;
};

// Stands between a client and the TPM, records every command and response, and can spoil them.
class Relay {
 public:
  struct Exchange {
    std::uint32_t code = 0;
    Bytes command;
    Bytes response;
  };
  // Given each command; what it returns is answered in the TPM's stead.
  using Answer = std::function<std::optional<Bytes>(const Exchange&)>;
  // Given each exchange; true loses the response.
  using Loss = std::function<bool(const Exchange&)>;

  explicit Relay(const PrivateTpm& tpm, const std::string& name = "relay")
      : to_(tpm.socket_path()), path_(tpm.directory() + "/" + name) {
    std::filesystem::create_symlink(to_ + ".ctrl", path_ + ".ctrl");  // asked when a client connects
    listener_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    if (bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_, 8) != 0 || pipe2(quit_, O_CLOEXEC) != 0) {
      std::abort();
    }
    thread_ = std::thread([this] { serve(); });
  }
  ~Relay() {
    close(quit_[1]);
    thread_.join();
    close(quit_[0]);
    close(listener_);
    std::filesystem::remove(path_);
    std::filesystem::remove(path_ + ".ctrl");
  }
  Relay(const Relay&) = delete;
  Relay& operator=(const Relay&) = delete;

  [[nodiscard]] std::string tcti() const { return "swtpm:path=" + path_; }
  void answer_by(Answer answer) {
    const std::lock_guard guard(mutex_);
    answer_ = std::move(answer);
  }
  void lose(Loss loss) {
    const std::lock_guard guard(mutex_);
    loss_ = std::move(loss);
  }
  [[nodiscard]] std::vector<Exchange> exchanges() const {
    const std::lock_guard guard(mutex_);
    return exchanges_;
  }
  void forget() {
    const std::lock_guard guard(mutex_);
    exchanges_.clear();
  }
  // A command that reaches the TPM whenever the caller likes; its response.
  [[nodiscard]] Bytes deliver(const Bytes& command) const {
    const int tpm = connect_unix(to_);
    if (tpm < 0) return {};
    Bytes response;
    if (send(tpm, command.data(), command.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(command.size()))
      response = message(tpm);
    close(tpm);
    return response;
  }
  [[nodiscard]] std::size_t count(std::uint32_t code) const {
    const auto all = exchanges();
    return static_cast<std::size_t>(std::ranges::count(all, code, &Exchange::code));
  }
  [[nodiscard]] bool seen(ByteView needle) const {
    const auto contains = [&](const Bytes& hay) {
      return std::search(hay.begin(), hay.end(), needle.begin(), needle.end()) != hay.end();
    };
    const auto all = exchanges();
    return std::ranges::any_of(
        all, [&](const Exchange& e) { return contains(e.command) || contains(e.response); });
  }

 private:
  // A command or response: tag, size, code, the rest. Empty at the end of the stream.
  static Bytes message(int fd) {
    Bytes bytes(10);
    if (!all(fd, bytes)) return {};
    const std::size_t size =
        static_cast<std::size_t>(bytes[2] << 24 | bytes[3] << 16 | bytes[4] << 8 | bytes[5]);
    bytes.resize(std::max<std::size_t>(size, 10));
    return all(fd, MutableBytes(bytes).subspan(10)) ? bytes : Bytes{};
  }
  static bool all(int fd, MutableBytes out) {
    while (!out.empty()) {
      const ssize_t n = read(fd, out.data(), out.size());
      if (n <= 0) return false;
      out = out.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }
  void serve() {
    for (;;) {
      pollfd wait[] = {{listener_, POLLIN, 0}, {quit_[0], POLLIN, 0}};
      if (poll(wait, 2, -1) < 0) continue;
      if (wait[1].revents != 0) return;
      const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) continue;
      for (Bytes command = message(client); !command.empty(); command = message(client)) {
        if (!forward(client, std::move(command))) break;
      }
      close(client);
    }
  }
  bool forward(int client, Bytes command) {
    Exchange exchange;
    exchange.command = std::move(command);
    const Bytes& c = exchange.command;
    exchange.code = static_cast<std::uint32_t>(c[6] << 24 | c[7] << 16 | c[8] << 8 | c[9]);
    Answer answer;
    Loss loss;
    {
      const std::lock_guard guard(mutex_);
      answer = answer_;
      loss = loss_;
    }
    std::optional<Bytes> instead = answer ? answer(exchange) : std::nullopt;
    if (instead) {
      exchange.response = std::move(*instead);
    } else {
      const int tpm = connect_unix(to_);
      if (tpm < 0) return false;
      const bool sent = send(tpm, c.data(), c.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(c.size());
      if (sent) exchange.response = message(tpm);
      close(tpm);
    }
    const bool lost = exchange.response.empty() || (loss && loss(exchange));
    const Bytes response = exchange.response;
    {
      const std::lock_guard guard(mutex_);
      exchanges_.push_back(std::move(exchange));
    }
    return !lost && send(client, response.data(), response.size(), MSG_NOSIGNAL) ==
                        static_cast<ssize_t>(response.size());
  }

  std::string to_;
  std::string path_;
  int listener_ = -1;
  int quit_[2] = {-1, -1};
  mutable std::mutex mutex_;
  Answer answer_;
  Loss loss_;
  std::vector<Exchange> exchanges_;
  std::thread thread_;
};

}  // namespace strongroom::roots::testing
