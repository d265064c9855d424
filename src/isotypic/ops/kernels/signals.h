// Signals: an image as the caller has it, and its *planes*, the channel transform of every sample as [coordinate, field,
// position], zero where the convolution pads, one plane a phase of the stride, so that the samples under one tap of
// consecutive outputs lie next to each other.
#pragma once

#include "vectors.h"

#include "group.h"

// What the caller describes. Sizes are (z, y, x); a plane has one z.
struct Problem {
    Int batch, in_fields, out_fields;
    Int in[3], out[3], stride[3], padding[3], dilation[3], kernel[3];
    Int in_channels_last, out_channels_last, threads;
};

// Channels of whole fields that fill whole squares.
constexpr int TILED = std::lcm(ORDER, LANES), TOGETHER = TILED / ORDER;

struct Planes {
    Int fields, size[3], padding[3], stride[3], length[3], row, slice, phase, plane;

    // Without a stride the zeros behind a row are those before the next, unless outputs need more room than that.
    explicit Planes(const Problem& p) : fields(p.in_fields) {
        Int phases = 1, behind[3];
        for (int a = 0; a < 3; a++) {
            size[a] = p.in[a], padding[a] = p.padding[a], stride[a] = p.stride[a];
            behind[a] = stride[a] == 1 && p.out[a] <= size[a] + padding[a] ? padding[a] : 0;
            length[a] = (size[a] + 2 * padding[a] + stride[a] - 1) / stride[a] - behind[a];
            phases *= stride[a];
        }
        row = length[2], slice = row * length[1], phase = slice * length[0];
        plane = odd_vectors(phases * phase + behind[0] * slice + behind[1] * row + behind[2]);
    }

    // Planes of a signal on the pitch of others, with room for whole blocks behind every slice.
    Planes(Int fields, const Int* size_, Int row_, Int slice_) : fields(fields), row(row_), slice(slice_) {
        for (int a = 0; a < 3; a++) size[a] = length[a] = size_[a], padding[a] = 0, stride[a] = 1;
        phase = slice * size[0], plane = odd_vectors(phase);
    }

    Int total() const { return ORDER * fields * plane; }

    // Where sample (z, y, x), counted from the first padded one, lies in a plane: its phase and its place in it.
    Int offset(Int z, Int y, Int x) const {
        Int which = ((z % stride[0]) * stride[1] + y % stride[1]) * stride[2] + x % stride[2];
        return which * phase + z / stride[0] * slice + y / stride[1] * row + x / stride[2];
    }
};

// One image of a signal, to be read or to be written.
template <class Number>
struct Signal {
    Number* data;
    Int channels, size[3];
    bool channels_last;

    Int pixels() const { return size[0] * size[1] * size[2]; }
    Int fields_together() const { return channels_last ? TOGETHER : 1; }

    // LANES samples, `step` pixels apart from one on, the last zero where there are fewer, of TILED channels from one on
    // where the channels come last, else of one field.
    void load_fields(Int pixel, Int step, Int count, Int channel, V* to) const {
        if (channels_last) {
            const T* from = data + pixel * channels + channel;
            for (int i = 0; i < TILED; i += LANES)
                load_transposed(from + i, step * channels, count, std::max<Int>(0, channels - channel - i), to + i);
        } else {
            const T* from = data + channel * pixels() + pixel;
            for (int h = 0; h < ORDER; h++, from += pixels()) to[h] = load_spaced(from, step, count);
        }
    }

    // The other way, of `some` channels.
    void store_fields(Int pixel, Int step, Int count, Int channel, Int some, V* from) const {
        if (channels_last) {
            T* to = data + pixel * channels + channel;
            for (Int i = 0; i < some; i += LANES) store_transposed(to + i, step * channels, count, some - i, from + i);
        } else {
            T* to = data + channel * pixels() + pixel;
            for (int h = 0; h < ORDER; h++, to += pixels()) store_spaced(to, step, from[h], count);
        }
    }
};
typedef Signal<const T> Image;

template <class Number>
static Signal<Number> image_of(Number* data, Int b, Int fields, const Int* size, Int channels_last) {
    Int channels = fields * ORDER, pixels = size[0] * size[1] * size[2];
    return {data + b * channels * pixels, channels, {size[0], size[1], size[2]}, channels_last != 0};
}

// Call act(pixel, place, count) for the samples of one row (z, y) of an image, up to LANES that lie next to each other in
// a plane at a time: they are a stride apart in the image.
template <class Act>
static void along_row(const Int* size, const Planes& planes, Int row, Act act) {
    const Int step = planes.stride[2], z = row / size[1] + planes.padding[0], y = row % size[1] + planes.padding[1];
    for (Int phase = 0; phase < std::min(step, size[2]); phase++) {
        const Int place = planes.offset(z, y, phase + planes.padding[2]), samples = (size[2] - phase + step - 1) / step;
        for (Int x = 0; x < samples; x += LANES)
            act(row * size[2] + phase + x * step, place + x, std::min<Int>(LANES, samples - x));
    }
}

// The channel transform of one row of an image into its planes.
static void transform_row(const Image& image, const Planes& planes, Int row, T* to) {
    const Int together = image.fields_together();
    along_row(image.size, planes, row, [&](Int pixel, Int place, Int count) {
        for (Int n = 0; n < planes.fields; n += together) {
            V in[TILED], out[ORDER];
            image.load_fields(pixel, planes.stride[2], count, n * ORDER, in);
            for (Int f = 0; f < std::min(together, planes.fields - n); f++) {
                channel_transform(in + f * ORDER, out);
                T* plane = to + (n + f) * planes.plane + place;
                for (int h = 0; h < ORDER; h++, plane += planes.fields * planes.plane) store_spaced(plane, 1, out[h], count);
            }
        }
    });
}

// The transpose: one row of the fields from `first` on of an image, from their planes.
static void write_row(const Signal<T>& image, const Planes& planes, Int row, Int first, const T* from) {
    const Int together = image.fields_together();
    along_row(image.size, planes, row, [&](Int pixel, Int place, Int count) {
        for (Int n = 0; n < planes.fields; n += together) {
            const Int fields = std::min(together, planes.fields - n);
            V in[ORDER], out[TILED];
            for (Int f = 0; f < fields; f++) {
                const T* plane = from + (n + f) * planes.plane + place;
                for (int h = 0; h < ORDER; h++, plane += planes.fields * planes.plane) in[h] = load(plane);
                channel_inverse(in, out + f * ORDER);
            }
            image.store_fields(pixel, planes.stride[2], count, (first + n) * ORDER, fields * ORDER, out);
        }
    });
}
