// What chunks.py does for each chunk, for all of a block at once: a thread in here keeps no other one waiting.
#include <cstddef>
#include <cstdint>
#include <unistd.h>

typedef std::int64_t i64;
typedef int Decompress(const void *from, void *to, std::size_t bytes, int threads); // as C-Blosc's blosc_decompress_ctx

// Bytes of a file one behind the other, of each chunk from start[i] on.  What cannot be read stays as it is: whoever
// called knows the checksum.
extern "C" void l1ad_read(int file, i64 chunks, const i64 *start, const i64 *bytes, char *to) {
    for (i64 i = 0; i < chunks; to += bytes[i++])
        for (i64 done = 0; done < bytes[i];) {
            const i64 more = pread(file, to + done, bytes[i] - done, start[i] + done);
            if (more <= 0)
                break;
            done += more;
        }
}

// Chunks one behind the other; the first that does not unpack to the bytes that it must, or -1
extern "C" i64 l1ad_unpack(Decompress *decompress, i64 chunks, const char *packed, const i64 *bytes, char *to,
                           const i64 *unpacked) {
    for (i64 i = 0; i < chunks; packed += bytes[i], to += unpacked[i++])
        if (decompress(packed, to, unpacked[i], 1) != unpacked[i])
            return i;
    return -1;
}
