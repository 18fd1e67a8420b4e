// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The directory that a replay writes to.
struct OutputDirectory {
    let path: String

    func path(of name: String) -> String {
        path.hasSuffix("/") ? path + name : "\(path)/\(name)"
    }

    /// Refuse to write a file that is at the same time read, whatever its name.
    func refuse(overwriting inputs: [String], by outputs: [String]) throws {
        for input in inputs {
            guard let source = status(input) else { continue }
            for output in outputs {
                guard let target = status(output), target.st_dev == source.st_dev, target.st_ino == source.st_ino else {
                    continue
                }
                throw Refusal("\(output) would be overwritten while it is read; choose another directory")
            }
        }
    }

    /// Make the directory, with its parents, and make sure that so many files can be open at once.
    func create(forFiles count: Int) throws {
        var parent = path.hasPrefix("/") ? "/" : ""
        for component in path.split(separator: "/") {
            parent += component
            if unsafe mkdir(parent, 0o777) != 0 && errno != EEXIST {
                throw Refusal("\(path): cannot be made: \(systemError())")
            }
            parent += "/"
        }
        guard let directory = status(path), directory.st_mode & S_IFMT == S_IFDIR else {
            throw Refusal("\(path): is not a directory")
        }
        var limit = rlimit()
        let needed = rlim_t(count + 64)
        if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0, limit.rlim_cur < needed {
            limit.rlim_cur = min(needed, limit.rlim_max)
            // If this is not enough, opening a file will say so.
            _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
    }

    /// Write a small file.
    static func write(_ text: String, to path: String) throws {
        let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        if descriptor < 0 { throw Refusal("\(path): cannot be written: \(systemError())") }
        let isWritten = writeAll(descriptor, text)
        let problem = systemError()
        close(descriptor)
        if !isWritten { throw Refusal("\(path): cannot be written: \(problem)") }
    }

    private func status(_ path: String) -> stat? {
        var status = stat()
        return unsafe stat(path, &status) == 0 ? status : nil
    }
}
