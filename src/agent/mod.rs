//! The hall clock: the one loop that moves values from room to room.
